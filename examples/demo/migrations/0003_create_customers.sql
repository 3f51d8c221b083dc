create table customers (
    id bigint generated always as identity primary key,
    email text not null,
    country char(2) not null references countries
);

comment on column customers.email is 'as typed; compare in lower case';
