"""A fleet that is made up, with a truth that is known, at a server that is real."""
