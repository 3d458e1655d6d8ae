"""The shop as its worker processes import it.

Owns: reading from the environment where it runs.  Refuses to know: what is sold.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.upgrade.shop import UNKNOWN, build

trouble = os.environ["SHOP_TROUBLE"] == "yes"

shop = build(
    os.environ["SHOP_REDIS"],
    Path(os.environ["SHOP_FOLDER"]),
    trouble=trouble,
    conf=json.loads(os.environ["SHOP_CONF"]),
)
app = shop.app
if trouble:
    app.tasks.unregister(UNKNOWN)
