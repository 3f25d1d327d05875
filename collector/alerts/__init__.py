"""What a person must deal with: its life cycle, and how people are told."""
