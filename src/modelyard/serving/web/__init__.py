"""From bytes on a connection to an answer: which way a request goes, what it may take."""
