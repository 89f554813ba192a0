#!/usr/bin/python3
"""Checks the rules of style that a program can check cheaply.

Errors, each printed as file:line:
  - a line over 100 columns, a tab or blanks at a line's end in C
  - a file over 1,000 lines, a function over 70
  - a header without `#pragma once`
  - a .c file that does not include its own header first (when it has one)
  - a file that does not open with a comment that says what it is
  - words that put work off: the marks of unfinished code
  - a room without README.md
Warnings: a header over 200 lines. Files that say "generated" in their first comment are exempt from
the length of files.

usage: check_tidy.py [root]          root is the folder that holds src/, default: this one's parent
"""

import re
import sys
from pathlib import Path

LINE_COLUMNS_MAX = 100
FILE_LINES_MAX = 1000
HEADER_LINES_MAX = 200
FUNCTION_LINES_MAX = 70
ESSAY_LETTERS_MIN = 12

# Written in halves, so that this file does not accuse itself.
PUT_OFF = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r"|(?i:TO" + r"DO))\b")
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]')
FUNCTION_NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")
C_FOLDERS = ("src", "tests", "tools")


def c_files(root):
    for folder in C_FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".c", ".h") and file.is_file():
                yield file


def text_files(root):
    """Everything that the words of unfinished work are looked for in."""
    yield from c_files(root)
    for folder in C_FOLDERS:
        for kind in ("*.py", "*.mjs"):
            yield from sorted(file for file in (root / folder).rglob(kind)
                              if file.is_file() and "node_modules" not in file.parts)
    if (root / "Makefile").is_file():
        yield root / "Makefile"


def first_comment(text):
    if not text.startswith("/*"):
        return ""
    return text[2:].split("*/", 1)[0]


def line_errors(lines, is_c):
    for number, line in enumerate(lines, 1):
        if PUT_OFF.search(line):
            yield number, f"puts work off: {PUT_OFF.search(line).group(1)}"
        if not is_c:
            continue
        if len(line) > LINE_COLUMNS_MAX:
            yield number, f"{len(line)} columns, {LINE_COLUMNS_MAX} at most"
        if "\t" in line:
            yield number, "holds a tab"
        if line != line.rstrip():
            yield number, "ends in blanks"


def function_errors(lines):
    """A function's body is what lies between a brace alone in column 0 and its partner there."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            count = number - start + 1
            if count > FUNCTION_LINES_MAX:
                name = function_name(lines, start - 1)
                yield start, f"{name} has {count} lines, {FUNCTION_LINES_MAX} at most"
            start = None


def function_name(lines, brace_index):
    """The name in the declarator above the brace, which may span lines."""
    for index in range(brace_index - 1, max(brace_index - 8, -1), -1):
        line = lines[index]
        if line and not line[0].isspace():
            found = FUNCTION_NAME.search(line)
            return found.group(1) if found else line
    return "a function"


def shape_errors(path, text, lines, root):
    """Length of the file, its opening comment, its guard and its first include."""
    opening = first_comment(text)
    is_generated = "generated" in opening.lower()
    if len(lines) > FILE_LINES_MAX and not is_generated:
        yield 1, f"{len(lines)} lines, {FILE_LINES_MAX} at most"
    if sum(letter.isalpha() for letter in opening) < ESSAY_LETTERS_MIN:
        yield 1, "does not open with a comment that says what it is"
    if path.suffix == ".h" and "#pragma once" not in lines:
        yield 1, "lacks #pragma once"
    if path.suffix == ".c" and path.parts[0] == "src":
        yield from own_header_errors(path, lines, root)


def own_header_errors(path, lines, root):
    own = path.with_suffix(".h")
    if not (root / own).is_file():
        return
    expected = str(own.relative_to("src"))
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if found is not None:
            if found.group(1) != expected:
                yield number, f'includes {found.group(1)} before its own "{expected}"'
            return
    yield 1, f'does not include its own "{expected}"'


def readme_errors(root):
    """Rooms are the folders of src/; a folder without sources is not furnished yet."""
    for room in sorted((root / "src").iterdir()):
        has_source = room.is_dir() and any(room.rglob("*.[ch]"))
        if has_source and not (room / "README.md").is_file():
            yield f"src/{room.name}:1: the room has no README.md"


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    errors = []
    warnings = []
    count = 0
    for file in text_files(root):
        path = file.relative_to(root)
        is_c = file.suffix in (".c", ".h")
        text = file.read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")[:-1] if text.endswith("\n") else text.split("\n")
        found = list(line_errors(lines, is_c))
        if is_c:
            found += function_errors(lines)
            found += shape_errors(path, text, lines, root)
        errors.extend(f"{path}:{number}: {what}" for number, what in sorted(found))
        is_long = path.suffix == ".h" and len(lines) > HEADER_LINES_MAX
        if is_long and "generated" not in first_comment(text).lower():
            warnings.append(f"{path}:1: warning: header of {len(lines)} lines")
        count += 1
    errors.extend(readme_errors(root))
    for line in errors + warnings:
        print(line)
    print(f"tidy: {count} files, {len(errors)} violations, {len(warnings)} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
