"""What people are shown of runs, whoever shows it: terminal, dashboard, archive, Flower.

Owns: snapshots, documents, pictures and wording.  Refuses to know: where it is printed, and how a
terminal or a browser works.

Its files, from the ground up::

    state | stats | bulk_outcome | undo_plan | graph | watching < wording | drawing < documents
"""
