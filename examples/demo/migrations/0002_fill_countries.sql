copy countries (code, name) from stdin;
AT	Austria
CL	Chile
IS	Iceland
KE	Kenya
\.
