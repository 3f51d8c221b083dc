create index concurrently customers_email on customers (lower(email));
