"""Changes of one operator, condition or number in the code that moves money: the files whose arithmetic R14-R20 are."""
import os, re

from .bench import ROOT

FILES = ("lib/Words.sol", "parts/Settlement.sol", "parts/Locks.sol", "parts/Cooperation.sol", "parts/Ledger.sol",
         "parts/Funding.sol", "parts/Evidence.sol")
# Spaces around an operator, as the formatter leaves them, tell it from signs, types and brackets of another kind.
SWAPS = (
    (" <= ", (" < ",)), (" >= ", (" > ",)), (" < ", (" <= ", " >= ")), (" > ", (" >= ", " <= ")),
    (" == ", (" != ",)), (" != ", (" == ",)), (" && ", (" || ",)), (" || ", (" && ",)),
    (" + ", (" - ",)), (" - ", (" + ",)), (" += ", (" = ", " -= ")), (" -= ", (" += ",)),
    (" & ", (" | ",)), (" | ", (" & ",)), (" << ", (" >> ",)), (" >> ", (" << ",)),
    ("if (", ("if (true || ", "if (false && ")), (" ? ", (" ? 0 : ",)),
)
STATEMENT = re.compile(r"^ +(?:_?\w[\w.]*(?:\[[^;=]*\])*(?: [+-])?= [^;]*|_require\w*\([^;]*\)|emit [^;]*|if \([^;{]*\) return [^;]*);$")


def all_mutants():
    """(name, file, whole old text, whole new text) of every mutant, in the order of the files."""
    for file in FILES:
        with open(os.path.join(ROOT, "src", file)) as source:
            lines = source.read().split("\n")
        for number, line in enumerate(lines):
            if line.lstrip().startswith(("//", "import", "pragma", "error", "event")):
                continue
            for changed in _of_line(line):
                text = "\n".join(lines)
                new = "\n".join(lines[:number] + [changed] + lines[number + 1:])
                yield f"{file}:{number + 1} `{line.strip()}` -> `{changed.strip()}`", file, text, new


def _of_line(line):
    code = line.split(" //")[0]
    for old, replacements in SWAPS:
        at = code.find(old)
        while at >= 0:
            for new in replacements:
                yield _condition(line, at, old, new) if old.startswith("if") else line[:at] + new + line[at + len(old):]
            at = code.find(old, at + 1)
    if STATEMENT.match(line):
        yield ""


def _condition(line, at, old, new):
    """`if (c)` with c decided beforehand: the whole of c in brackets, when it ends on its line."""
    depth, start = 1, at + len(old)
    for end in range(start, len(line)):
        depth += {"(": 1, ")": -1}.get(line[end], 0)
        if depth == 0:
            return f"{line[:at]}{new}({line[start:end]}){line[end:]}"
    return line[:at] + new + line[start:]


def sample(first, step):
    """Every `step`-th mutant from number `first`."""
    return list(all_mutants())[first::step]
