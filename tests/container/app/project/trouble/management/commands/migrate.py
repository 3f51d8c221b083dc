import os

from django.core.management.commands import migrate


class Command(migrate.Command):
    """With APP_TROUBLE=lie, prints the usual lines, applies nothing and exits with 0; with hasty, migrates before everything else."""

    def run_from_argv(self, argv):
        if os.environ["APP_TROUBLE"] == "hasty":
            return self.handle(**vars(self.create_parser(argv[0], argv[1]).parse_args(argv[2:])))
        return super().run_from_argv(argv)

    def handle(self, *args, **options):
        if os.environ["APP_TROUBLE"] != "lie":
            return super().handle(*args, **options)
        self.stdout.write("Running migrations:")
        self.stdout.write("  Applying carriers.0001_initial... OK")
