"""Reads README.md: the code in it, and the settings table that is made from `conf.py`.

python -m tests.readme    writes the table anew
"""

from __future__ import annotations

import ast
import re
import textwrap
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
CONF = ROOT / "django_tasker" / "conf.py"
BEGIN = "<!-- settings: made from django_tasker/conf.py by `make readme` -->\n"
END = "<!-- end of settings -->"


def settings_table() -> str:
    """The table of settings: key, default and the comment that stands beside it in `conf.DEFAULTS`."""
    comments = comments_by_line()
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for key, value in defaults().items():
        default = ast.unparse(value)
        if isinstance(value, ast.Constant) and isinstance(value.value, int) and not isinstance(value.value, bool):
            default = f"{value.value:_}"
        meaning = comments.get(value.end_lineno, "").replace("|", "\\|")
        rows.append(f"| `{ast.literal_eval(key)}` | `{default}` | {meaning} |")
    return "\n".join(rows) + "\n"


def defaults() -> dict[ast.expr, ast.expr]:
    for node in ast.parse(CONF.read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "DEFAULTS":
            assert isinstance(node.value, ast.Dict)
            return {key: value for key, value in zip(node.value.keys, node.value.values, strict=True) if key}
    raise LookupError("conf.py has no DEFAULTS")


def comments_by_line() -> dict[int | None, str]:
    with CONF.open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    return {token.start[0]: token.string.lstrip("# ") for token in tokens}


def with_table(text: str) -> str:
    """README's text with the table as it should be."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + settings_table() + END + rest.split(END, 1)[1]


def python_blocks() -> list[tuple[str, str]]:
    """What stands in the comment above each block of Python ('' without one), and its code."""
    pattern = r"(?:^[ ]*<!-- ([^\n]*) -->\n)?^[ ]*```python\n(.*?)^[ ]*```$"
    found = re.findall(pattern, README.read_text(), re.MULTILINE | re.DOTALL)
    return [(kind, textwrap.dedent(code)) for kind, code in found]


def shell_commands() -> list[str]:
    """Every command line of the README that begins with `python manage.py`."""
    return re.findall(r"^[ ]*\$ python manage\.py (.*)$", README.read_text(), re.MULTILINE)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
