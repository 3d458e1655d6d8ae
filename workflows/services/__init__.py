"""The shop's partners: a stock, a bank and a carrier, as small as they can be and still honest.

Owns: what a participant of a saga must do, shown on SQLite: an effect happens once per key, an undo
of a key forbids it for ever, a definite refusal changes nothing.  Refuses to know: Celery, Celeriac
and the orders themselves; a shop would reach such services over HTTP.
"""
