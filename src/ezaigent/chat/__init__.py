"""Chat: what people say becomes one typed command, an answer, or a proposed task; conversations are kept."""
