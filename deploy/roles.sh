# Makes the account of DISC in a new database, which may read what the administrator creates, and nothing else. The image
# of PostgreSQL reads this file when it has made the database. The password is in no command line.
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
\set password \`cat "${SECRETS:-/run/secrets}/disc_password"\`
CREATE ROLE disc LOGIN PASSWORD :'password';
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO disc;
SQL
