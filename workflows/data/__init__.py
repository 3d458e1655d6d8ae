"""The orders and the catalogue that `make demo` runs on.

Owns: the files beside it and the program that wrote them.  Refuses to know: who reads them.
"""
