"""``python -m local.emulator``: the embedded AWS in the foreground, until SIGTERM or Ctrl-C."""

from local.emulator.host import main

main()
