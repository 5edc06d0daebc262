#!/usr/bin/env python
"""Runs django_tasker beside its rivals in the peers' harness: the same tasks, one machine, one run.

    python benchmarks/throughput.py --harness FOLDER [--runs 3] [--out results.json] [PEER ...]

The harness is a folder with `run`, `services` and `adapters/`; it is copied, our adapter is put into the copy, and
private services are started and stopped. Without names: our variants, django-q2 and huey on SQLite.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULT = [
    *("django_tasker:pg", "django_tasker:pg-thread", "django_tasker:pg-process", "django_q2"),
    *("django_tasker:sqlite", "django_tasker:sqlite-process", "huey:sqlite"),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", default=os.environ.get("PEERS_HARNESS"), help="or PEERS_HARNESS")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--figures", help="a part of enqueue_one,drain,latency,backlog")
    parser.add_argument("--out", default="benchmarks-throughput.json")
    parser.add_argument("peers", nargs="*", default=DEFAULT)
    args = parser.parse_args()
    if not args.harness:
        parser.error("name the harness's folder by --harness or PEERS_HARNESS")
    with tempfile.TemporaryDirectory(prefix="tasker-peers-") as folder:
        copy = Path(folder) / "peers"
        shutil.copytree(args.harness, copy)
        subprocess.run(["chmod", "-R", "u+w", str(copy)], check=True)
        shutil.copy(HERE / "peers" / "django_tasker.py", copy / "adapters")
        shutil.copytree(HERE / "peers" / "tasker_bench", copy / "tasker_bench")
        return run(copy, args)


def run(copy: Path, args: argparse.Namespace) -> int:
    env = {**os.environ, "DJANGO_TASKER": str(HERE.parent), "PEERS_PYTHON": sys.executable}
    out = Path(args.out).resolve()
    command = ["./run", "--runs", str(args.runs), "--out", str(out), *args.peers]
    if args.figures:
        command += ["--figures", args.figures]
    subprocess.run(["./services", "start"], cwd=copy, env=env, check=True)
    try:
        subprocess.run(command, cwd=copy, env=env, check=True)
        subprocess.run(["./run", "--table", str(out)], cwd=copy, env=env, check=True)
    finally:
        subprocess.run(["./services", "stop"], cwd=copy, env=env, check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
