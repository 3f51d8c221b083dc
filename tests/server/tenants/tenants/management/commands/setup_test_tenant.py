from django.core.management.base import BaseCommand

from tenants.models import Client, Domain


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--tenant-name", required=True)
        parser.add_argument("--domain", required=True)

    def handle(self, *args, **options):
        name = options["tenant_name"]
        defaults = {"name": f"Test Tenant ({name})", "description": "Test tenant for CI/CD"}
        tenant, created = Client.objects.get_or_create(schema_name=name, defaults=defaults)
        Domain.objects.get_or_create(domain=options["domain"], defaults={"tenant": tenant})
        self.stdout.write(f"tenant {name} {'created' if created else 'was there'}")
