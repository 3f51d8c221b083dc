from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=120)
    supplier = models.ForeignKey("suppliers.Supplier", on_delete=models.PROTECT)
    region = models.CharField(max_length=40, default="unknown")
