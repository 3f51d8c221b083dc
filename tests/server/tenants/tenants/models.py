from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=200, default="")


class Domain(DomainMixin):
    pass
