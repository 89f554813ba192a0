"""The page docs/benchmarks.md: its generated parts stand between markers (<!-- speed:begin --> and
<!-- speed:end -->), everything else is written by hand and kept as it is."""
import datetime
import os
import platform
import re
import subprocess

from servers import OURO_EPOLL, OURO_URING, ROOT, scale

PAGE = os.path.join(ROOT, "docs/benchmarks.md")
OPTIONS = ("ROUNDS", "SCALE", "SIZES", "CONNECTIONS", "ONLY", "SERVERS", "PEERS")


def replace_part(name, lines):
    """Puts lines between the markers of that name."""
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    begin, end = "<!-- %s:begin -->" % name, "<!-- %s:end -->" % name
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit("%s lacks the markers %s and %s" % (PAGE, begin, end))
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(head + begin + "\n" + "\n".join(lines).strip() + "\n" + end + tail)


def table(head, rows):
    """A Markdown table whose columns, but for the first, are figures."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def number(value, digits=2, unit=""):
    """A figure, or a dash where there is none; no minus sign for what rounds to zero."""
    if value is None:
        return "-"
    text = "%.*f" % (digits, value)
    if float(text) == 0:
        text = text.lstrip("-")
    return text + unit


def whole(value):
    return "-" if value is None else "{:,}".format(int(round(value)))


def verdict(value, most):
    if value is None:
        return "not measured"
    if scale() < 1:
        return "not judged"
    return "met" if value <= most else "**missed**"


def one_line(words):
    try:
        lines = subprocess.run(words, capture_output=True, text=True).stdout.splitlines()
        return lines[0] if lines else ""
    except OSError:
        return ""


def processor():
    with open("/proc/cpuinfo") as file:
        names = re.findall(r"^model name\s*:\s*(.*)$", file.read(), re.M)
    return names[0].strip() if names else platform.machine()


def machine():
    """What a reader needs to know of the machine: nothing that names it."""
    with open("/proc/meminfo") as file:
        memory_kib = int(re.search(r"MemTotal:\s*(\d+)", file.read()).group(1))
    return "%d cores (%s), %d GiB of memory, Linux %s, %s" % (
        os.cpu_count(), processor(), round(memory_kib / (1 << 20)),
        re.match(r"[\d.]+", platform.release()).group(0), one_line(["cc", "--version"]))


def make_command(target):
    """The command that was run. A peer's command line would say where it lies on this machine."""
    words = ["make", target]
    for option in OPTIONS:
        value = os.environ.get(option)
        if value and option == "PEERS":
            names = [peer.split("=", 1)[0].strip() for peer in value.split(";") if peer.strip()]
            value = ";".join(name + "=..." for name in names)
        if value:
            words.append("%s='%s'" % (option, value) if re.search(r"[^\w.,]", value)
                         else "%s=%s" % (option, value))
    return " ".join(words)


def preamble(target, versions):
    named = ["%s is %s" % (name, version) if version.lower() != name.lower() else name
             for name, version in versions.items() if version and name != OURO_EPOLL]
    servers = "; ".join(named).replace(OURO_URING, "Ouro")
    today = datetime.date.today().isoformat()
    lines = ["Measured on %s with `%s`." % (today, make_command(target)),
             "Machine: %s.%s" % (machine(), " Servers: %s." % servers if servers else ""), ""]
    if scale() < 1:
        lines += ["**A quick run: it shows that measuring works; its figures mean nothing and are not"
                  " judged. There were %g times the keys that the titles name.**" % scale(), ""]
    return lines


def figure(name, text):
    return ["![%s](bench/%s.svg)" % (text, name), ""]
