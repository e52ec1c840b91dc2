"""The layer below all others: files, logs, ranks, and how a command ends."""

INTERRUPTED = "interrupted; what was saved before is intact"
