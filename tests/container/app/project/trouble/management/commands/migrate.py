import os

from django.core.management.commands import migrate


class Command(migrate.Command):
    """With APP_TROUBLE=lie it says what the real one says, does nothing, and ends with 0."""

    def handle(self, *args, **options):
        if os.environ["APP_TROUBLE"] != "lie":
            return super().handle(*args, **options)
        self.stdout.write("Running migrations:")
        self.stdout.write("  Applying carriers.0001_initial... OK")
