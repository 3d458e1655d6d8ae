"""`celery -A app saga …` and `celeriac …`: what is typed, asked and printed.

Owns: verbs, options, prompts, printing, exit codes.  Refuses to know: how a verb does what it does.
Nothing is imported here, since every `celery` command loads `cli`, whatever application it is for.

Its files, from the ground up::

    completion | exit_codes | interrupts | prompts | screen | times < options | printing | serving
    < schedule_printing | breaker_printing | bulk_printing | invocation
    < command | inspection | control | defining | results | maintenance | schedules | breakers
    | bulks
    < inspection_commands | control_commands | defining_commands | result_commands
    | maintenance_commands | schedule_commands | breaker_commands | bulk_commands < cli
"""
