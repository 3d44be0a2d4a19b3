"""Databases for the tests of the store: the tables of others, and what is in a file."""

import sqlite3

from auth_diameter.store.hashes import compute_ha1

# Of alice@siphub.net, whose password is "secret".
HA1 = compute_ha1("alice", "siphub.net", "secret")
HA1B = compute_ha1("alice@siphub.net", "siphub.net", "secret")
SHA_256 = compute_ha1("alice", "siphub.net", "secret", "SHA-256")
SHA_512 = compute_ha1("alice", "siphub.net", "secret", "SHA-512-256")

# The tables as Kamailio 5.6's scripts define them, indexes included.
KAMAILIO = """
CREATE TABLE version (id INTEGER PRIMARY KEY NOT NULL, table_name VARCHAR(32) NOT NULL,
  table_version INTEGER DEFAULT 0 NOT NULL,
  CONSTRAINT version_table_name_idx UNIQUE (table_name));
CREATE TABLE subscriber (id INTEGER PRIMARY KEY NOT NULL, username VARCHAR(64) DEFAULT '' NOT NULL,
  domain VARCHAR(64) DEFAULT '' NOT NULL, password VARCHAR(64) DEFAULT '' NOT NULL,
  ha1 VARCHAR(128) DEFAULT '' NOT NULL, ha1b VARCHAR(128) DEFAULT '' NOT NULL,
  CONSTRAINT subscriber_account_idx UNIQUE (username, domain));
CREATE INDEX subscriber_username_idx ON subscriber (username);
CREATE TABLE grp (id INTEGER PRIMARY KEY NOT NULL, username VARCHAR(64) DEFAULT '' NOT NULL,
  domain VARCHAR(64) DEFAULT '' NOT NULL, grp VARCHAR(64) DEFAULT '' NOT NULL,
  last_modified TIMESTAMP WITHOUT TIME ZONE DEFAULT '2000-01-01 00:00:01' NOT NULL,
  CONSTRAINT grp_account_group_idx UNIQUE (username, domain, grp));
INSERT INTO version (table_name, table_version)
  VALUES ('version', 1), ('subscriber', 7), ('grp', 2);
"""

# The columns that count of OpenSIPS' table.
OPENSIPS = """
CREATE TABLE subscriber (id INTEGER PRIMARY KEY NOT NULL, username CHAR(64) DEFAULT '' NOT NULL,
  domain CHAR(64) DEFAULT '' NOT NULL, password CHAR(25) DEFAULT '' NOT NULL,
  email_address CHAR(64) DEFAULT '' NOT NULL, ha1 CHAR(64) DEFAULT '' NOT NULL,
  ha1_sha256 CHAR(64) DEFAULT '' NOT NULL, ha1_sha512t256 CHAR(64) DEFAULT '' NOT NULL,
  rpid CHAR(64) DEFAULT NULL,
  CONSTRAINT subscriber_account_idx UNIQUE (username, domain));
"""


def run_sql(path, script):
    connection = sqlite3.connect(path)
    try:
        connection.executescript(script)
    finally:
        connection.close()


def select(path, query):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
