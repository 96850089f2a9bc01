"""Runs a program in a terminal of its own, tells it to end once it has taken that, and says how it left it.

terminal.py SIGNAL PROGRAM [ARGUMENT...]    (SIGNAL: a name such as TERM; `key:q` types a key; `none` waits)
"""

import json
import os
import pty
import select
import signal
import sys
import termios
import time

ENTERED, LEFT, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"

how, command = sys.argv[1], sys.argv[2:]
master, slave = pty.openpty()
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.setsid()
    for descriptor in range(3):
        os.dup2(slave, descriptor)
    os.environ["TERM"] = "xterm"
    os.execvp(command[0], command)

printed, told, status = b"", False, None
end = time.monotonic() + 30
while time.monotonic() < end:
    while select.select([master], [], [], 0.05)[0]:
        printed += os.read(master, 65536)
    if status is not None:
        break
    if ENTERED in printed and not told:
        told = True
        raw = termios.tcgetattr(slave) != before
        if how.startswith("key:"):
            os.write(master, how[4:].encode())
        elif how != "none":
            os.kill(child, getattr(signal, "SIG" + how))
    pid, code = os.waitpid(child, os.WNOHANG)
    if pid == child:
        status = os.waitstatus_to_exitcode(code)
if status is None:
    os.kill(child, signal.SIGKILL)
after = printed[printed.rfind(ENTERED):]
print(json.dumps({
    "taken": told,
    "raw": told and raw,
    "left": LEFT in after,
    "cursor": CURSOR in after,
    "restored": termios.tcgetattr(slave) == before,
    "status": status,
    "printed": after.decode(errors="replace")[-2000:],
}))
