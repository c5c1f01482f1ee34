"""``python -m laptop_aws``: the embedded AWS in the foreground, until SIGTERM or Ctrl-C."""

from laptop_aws.host import main

main()
