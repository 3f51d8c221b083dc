from django.db import models


class Supplier(models.Model):
    name = models.CharField(max_length=120)
    carrier = models.ForeignKey("carriers.Carrier", on_delete=models.PROTECT)
