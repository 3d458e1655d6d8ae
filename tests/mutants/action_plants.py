"""The planted bugs of definitions in files and of their actions.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

SECRETS = "tests/actions/test_secrets.py"

ACTIONS = (
    Plant(
        "the HTTP library logs a secret",
        "What httpx and httpcore log of a request is in the log of the worker: URL and headers.",
        "actions/connecting.py",
        "    return not _ours.get()\n",
        "    return True\n",
        (f"{SECRETS} -k library",),
    ),
    Plant(
        "half a secret is shown",
        "What a command prints is cut inside of a secret, so that its beginning is not masked.",
        "actions/secrets.py",
        "            most = start if 0 <= start < most else most\n",
        "            del start\n",
        (f"{SECRETS} -k half",),
    ),
    Plant(
        "a secret is shown as a URL spells it",
        "Only a secret as it is is masked, and not what a server sends back of a path.",
        "actions/secrets.py",
        "for each in _spellings(secret)}",
        "for each in (secret,)}",
        (f"{SECRETS} -k spell",),
    ),
    Plant(
        "an address behind a translator is public",
        "A name leads inside by an IPv6 address that NAT64 turns into one of this network.",
        "actions/addresses.py",
        "    if address in _NAT64:\n",
        "    if not address:\n",
        ("tests/actions/test_http.py -k checked_where",),
    ),
    Plant(
        "all of IPv6 is public",
        "What is not given out counts as public, and old forms hold addresses of this machine.",
        "actions/addresses.py",
        "public = address.version == 4 or address in _GIVEN_OUT",
        "public = address.version in (4, 6)",
        ("tests/actions/test_http.py -k checked_where",),
    ),
    Plant(
        "a comment hides a step",
        "Behind a line break that editors do not show, a comment goes on as YAML.",
        "definitions/trees.py",
        "    if hidden:\n",
        "    if hidden and not text:\n",
        ("tests/definitions/test_safety.py -k not_read",),
    ),
)
