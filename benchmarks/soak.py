#!/usr/bin/env python
"""Runs real workers for long, on a database of its own, and checks what runners and database saw.

    python benchmarks/soak.py               2,000 tasks while 10 workers and 20 children are killed (SIGKILL)
    python benchmarks/soak.py --admission   5,000 tasks over 50 keys, and sets of readers and writers, 4 workers

DATABASE_URL (or --database) names the server; the database is made beside the one it names, as Django's tests do, and
dropped at the end. Without one: SQLite in a temporary folder. Prints figures and problems as JSON; ends with 1 if
there is a problem. The same code runs in a short form in `tests/end_to_end/`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    options = parse()
    sys.path.insert(0, str(ROOT))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    if options.database:
        os.environ["DATABASE_URL"] = options.database
    with tempfile.TemporaryDirectory(prefix="tasker-soak-") as folder:
        os.environ["TASKER_TEST_FOLDER"] = folder
        return soak(Path(folder), options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="instead of DATABASE_URL")
    parser.add_argument("--admission", action="store_true", help="contend for limits instead of killing")
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--workers", type=int, help="2 when killing, 4 with --admission")
    parser.add_argument("--worker-kills", type=int)
    parser.add_argument("--child-kills", type=int)
    parser.add_argument("--seed", type=int)
    return parser.parse_args()


def soak(folder: Path, options: argparse.Namespace) -> int:
    import django

    django.setup()
    logging.disable(logging.WARNING)
    from django.conf import settings
    from django.db import connection

    from tests import contention, crashes
    from tests.processes import url_of

    module = contention if options.admission else crashes
    known = module.Plan.__dataclass_fields__
    chosen = {name: value for name, value in vars(options).items() if name in known and value is not None}
    old_name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        verdict = module.run(url_of(settings.DATABASES["default"]), folder, module.Plan(**chosen))
    finally:
        from django_tasker import notify

        notify.close_all()
        connection.creation.destroy_test_db(old_name, verbosity=0)
    print(json.dumps({"database": connection.vendor, **verdict.figures, "problems": verdict.problems}, indent=1))
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
