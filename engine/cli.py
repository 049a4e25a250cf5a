"""The command line ``spymaster``: `app` has the module and help text of every command."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cyclopts import App

from engine import __version__
from engine.errors import MORE_FILES, OUT_OF_FILES, EngineError, defect_text

HELP = """A level workbench for futures: from Databento market-by-order files to the pressure at a price.

From files to the screen, at once or step by step:

    spymaster demo --dbn FOLDER

    spymaster add FILE.dbn.zst
    spymaster run --symbol ESH4 --dates 2023-12-25 --session globex_open
    spymaster serve

spymaster lake shows what is there and what is stale. Every command takes --lake (or SPYMASTER_LAKE).
"""

app = App(name="spymaster", help=HELP, help_format="plaintext", version=__version__, suppress_keyboard_interrupt=False)

app.command("engine.commands.run:run", help="Make bronze, silver and gold from the raw files in the lake.")
app.command("engine.commands.rebuild:rebuild", help="From the raw files to signals: all layers and the index, in order.")
app.command("engine.commands.simulate:simulate", help="Make DBN files of a market whose laws are known.")
app.command("engine.commands.simulate:fidelity", help="Measure the stylised facts of simulated or real files against their gates.")
app.command("engine.commands.lake:lake", help="Show what is in the lake and what is stale.")
app.command("engine.commands.add:add", help="Check what Databento delivered and put it into the lake's raw folder.")
app.command("engine.commands.download:download", help="Download from Databento: the price first, each date once.")
app.command("engine.commands.run:select", help="Make the map from a root and a date to the contract that is used.")
app.command("engine.commands.lake:contracts", help="Show the contracts, or write those that are generated.")
app.command("engine.commands.retrieval:index", help="Make the index of similar setups, or say whether it can be used.")
app.command("engine.commands.retrieval:neighbours", help="Find similar setups of other sessions, and what they did.")
app.command("engine.commands.retrieval:audit", help="Score forecasts from similar setups against what setups usually do.")
app.command("engine.commands.retrieval:hypothesis", help="Count outcomes by how many of the four conditions were open.")
app.command("engine.commands.gex:gex", help="Print the gamma of the options around the price at a minute.")
app.command("engine.commands.demo:demo", help="From a folder of DBN files to the screen, in one command.")
app.command("workbench.commands.pictures:snapshot", help="Draw a setup as a picture that carries its state.")
app.command("workbench.commands.pictures:compare", help="Compare two pictures; the exit code tells whether they are alike.")
app.command("engine.commands.live:live", help="Record the market as it trades, or play files as if they came live.")
app.command("engine.commands.live_demo:live_demo", help="Play a simulated morning as a live feed into the screen; no key is needed.")
app.command("engine.commands.live:morning", help="Check that a live morning can begin, then record and serve the screen.")
app.command("engine.commands.serve:serve", help="Serve the screen on this machine.")


def main(argv: list[str] | None = None) -> None:
    """Run the command line; an error is printed as one message with exit code 1, Ctrl-C and SIGTERM exit with 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text
    signals: list[int] = []
    try:
        with terminable(signals):
            app(argv)
    except EngineError as e:
        sys.stderr.write(f"{type(e).__name__}: {e}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except BaseException as e:
        # A panic of polars is no Exception; its name is compared, since most commands do without importing polars.
        if not isinstance(e, Exception) and type(e).__name__ != "PanicException":
            raise
        if signals:  # a library that was just being loaded makes an error of its own of an interrupt
            sys.stderr.write("stopped\n")
            sys.exit(130)
        if isinstance(e, OSError) and e.errno in OUT_OF_FILES:
            sys.stderr.write(f"{e.strerror}: {e.filename or 'a file'} could not be opened; {MORE_FILES}\n")
        else:
            sys.stderr.write(defect_text(e, "spymaster " + " ".join(sys.argv[1:] if argv is None else argv)) + "\n")
        sys.exit(1)


@contextmanager
def terminable(signals: list[int]) -> Iterator[None]:
    """Context manager in which SIGTERM raises KeyboardInterrupt, as Ctrl-C does, and is added to `signals`.

    An interrupt that falls into a callback of a C library (of LLVM's, while a kernel is compiled) is printed and dropped by Python: it is
    sent again. One that falls into code made from a string (a dataclass, while a library is loaded) is remembered by Python, which at its
    end kills itself by SIGINT whatever the exit code: it is forgotten.
    """

    def interrupt(signum: int, frame: object) -> None:
        signals.append(signum)
        for timer in again:
            timer.cancel()
        raise KeyboardInterrupt

    again: list[threading.Timer] = []

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            again.append(timer := threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)))
            timer.daemon = True
            timer.start()
        else:
            unraisable(what)

    if threading.current_thread() is not threading.main_thread():
        yield  # Python takes signals in the main thread alone
        return
    before, unraisable = signal.signal(signal.SIGTERM, interrupt), sys.unraisablehook
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        for timer in again:
            timer.cancel()
        sys.unraisablehook = unraisable
        signal.signal(signal.SIGTERM, before)
        exec("")  # Python forgets at the next code that is made from a string


if __name__ == "__main__":
    main()
