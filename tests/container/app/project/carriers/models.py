from django.db import models


class Carrier(models.Model):
    name = models.CharField(max_length=120, unique=True)
