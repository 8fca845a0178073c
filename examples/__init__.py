"""One question a file: each runs as a script and is installed as a module of stackel.examples."""
