"""Programs that run on a terminal of their own."""

import os
import pty


def on_a_terminal(argv, **env):
    """(what it showed, its exit code). `env` is set on top of this process's environment, in which NO_COLOR is not."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.pop("NO_COLOR", None)
        os.environ.update({"TERM": "xterm"}, **env)
        os.execv(argv[0], argv)
    text = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:  # how a terminal says that the last process on it has gone
            break
        if not piece:
            break
        text += piece
    os.close(fd)
    return text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
