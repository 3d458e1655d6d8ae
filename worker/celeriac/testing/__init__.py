"""What tests of sagas need, for users and for this project alike.

Owns: nothing itself; each file here is one tool.  Refuses to know: pytest, and any one test.
"""
