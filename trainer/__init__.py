"""The trainer: from labelled messages to an artifact that filterd serves."""
