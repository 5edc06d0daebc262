"""The parts of `manage.py tasker`: arguments, output, and one function per subcommand that calls the facade."""
