"""From files, the Hub or a built-in corpus to batches: read, split, encode, collate."""
