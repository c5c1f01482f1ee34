"""The only code that functions share: environment, observability, clients, errors, names, ledger, jobs, events."""
