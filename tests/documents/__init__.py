"""What the documents tell people to type is typed here."""
