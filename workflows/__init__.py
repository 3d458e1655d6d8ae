"""Reference sagas: read them, copy them, run them.

Owns: example applications of Celeriac.  Refuses to know: anything of Celeriac that is not public.
"""
