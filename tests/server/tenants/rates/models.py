from django.db import models


class Rate(models.Model):
    name = models.CharField(max_length=120)
    per_day = models.IntegerField(default=0)
