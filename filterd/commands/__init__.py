"""The commands, one file a purpose. Thin: each imports what it needs when it runs."""
