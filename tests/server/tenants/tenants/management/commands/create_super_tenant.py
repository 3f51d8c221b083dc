from django.core.management.base import BaseCommand

from tenants.models import Client, Domain


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("--no-input", action="store_true")

    def handle(self, *args, **options):
        tenant, created = Client.objects.get_or_create(schema_name="public", defaults={"name": "Everybody"})
        Domain.objects.get_or_create(domain="example.com", defaults={"tenant": tenant})
        self.stdout.write(f"super tenant {'created' if created else 'was there'}")
