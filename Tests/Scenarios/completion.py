"""What a shell shows where TAB is pressed behind a line: completion.py SHELL FOLDER LINE [SECONDS]

FOLDER: a place for files, with the program's completion script as `_sallyport` for zsh, `sallyport.fish` for fish.
"""
import os, pty, re, select, sys, time

shell, folder, line = sys.argv[1:4]
limit = float(sys.argv[4]) if len(sys.argv) > 4 else 10
setup = {
    "zsh": f"PROMPT='READY> '; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -d {folder}/dump; "
           "zstyle ':completion:*' list-prompt ''; unsetopt beep\n",
    "fish": f"function fish_prompt; printf 'READY> '; end; source {folder}/sallyport.fish\n",
}[shell]
arguments = {"zsh": ["zsh", "-f", "-i"], "fish": ["fish", "--no-config", "-i"]}[shell]

child, terminal = pty.fork()
if child == 0:
    os.environ.update(TERM="dumb" if shell == "zsh" else "xterm", HOME=folder, COLUMNS="200", LINES="50", LANG="C.UTF-8")
    os.execvp(arguments[0], arguments)

shown = b""
def read_for(seconds, until=None):
    """Reads until a text comes, or nothing for so long."""
    global shown
    end = time.monotonic() + seconds
    while (until is None or until not in shown) and select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
        try:
            new = os.read(terminal, 1 << 16)
        except OSError:
            break
        # fish asks the terminal what it is and waits.
        if b"\x1b[c" in new: os.write(terminal, b"\x1b[?62c")
        shown += new

read_for(2)
os.write(terminal, setup.encode())
read_for(limit, b"READY> ")
read_for(0.5)
shown = b""
os.write(terminal, line.encode() + b"\t")
read_for(1.5)
os.write(terminal, b"\t")
read_for(1.5)
os.kill(child, 9)
text = re.sub(rb"\x1b(\[[0-9;?>=]*[a-zA-Z]|\][^\x07]*\x07|[=>()][0-9AB]?)", b"", shown).replace(b"\r", b"\n")
print(text.decode(errors="replace"))
