"""The trainer's commands, one file a stage. Thin: each imports what it needs when it runs."""
