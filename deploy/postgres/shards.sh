#!/bin/sh
# Spreads the vectors of one model over several PostgreSQL servers:
#
#   shards.sh [-g GALLERY] [-s halfvec|bit] [-p PARTITIONS] MODEL_ID DIMENSION COORDINATOR SHARD...
#
# The coordinator keeps people, templates, audit log and all transactions. Each shard keeps PARTITIONS
# (default 1) hash partitions of the model's vectors with an HNSW index each; the coordinator reaches them
# by postgres_fdw. Run it before the model's first template is enrolled, and create the gallery with
# ?search=halfvec (or bit). PostgreSQL 15 and pgvector 0.8.4 are needed everywhere.
#
# COORDINATOR and SHARD are postgresql:// addresses with host, user and database, without passwords (all
# users of a machine see command lines). psql takes those from PGPASSWORD or ~/.pgpass; what the coordinator
# shall use towards the shards is read from SHARD_PASSWORD.
set -eu
gallery=uniface kind=halfvec partitions=1
usage() { sed -n '4s/^# */usage: /p' "$0" >&2; exit 2; }
fail() { echo "shards.sh: $1" >&2; exit 1; }
while getopts g:s:p: option; do
    case $option in
    g) gallery=$OPTARG ;;
    s) kind=$OPTARG ;;
    p) partitions=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 4 ] || usage
model=$1 dimension=$2 coordinator=$3
shift 3
case $gallery in [!a-z_]* | *[!a-z0-9_]* | "") fail "GALLERY must be a name of a-z, 0-9 and _" ;; esac
case $dimension in *[!0-9]* | "") fail "DIMENSION must be a number" ;; esac
case $partitions in *[!0-9]* | "" | 0) fail "PARTITIONS must be a number from 1" ;; esac
case $kind in
halfvec) index="embedding halfvec_cosine_ops" ;;
bit) index="(binary_quantize(embedding)::bit($dimension)) bit_hamming_ops" ;;
*) usage ;;
esac
for address in "$coordinator" "$@"; do
    case $address in *://*:*@*) fail "an address with a password: use PGPASSWORD, ~/.pgpass, SHARD_PASSWORD" ;; esac
done

run() { # run ADDRESS [PSQL-OPTIONS]: SQL from standard input
    psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$@"
}
table=$(echo "SELECT 'vector_' || md5(:'model');" | run "$coordinator" --set model="$model")
[ -z "$(echo "SELECT to_regclass('\"$gallery\".$table');" | run "$coordinator")" ] ||
    fail "the coordinator has vectors of this model already"
modulus=$(($# * partitions))

# The same table as the library makes (src/gallery/postgres_search.c), in the shard's share of partitions.
columns="template bigint %s, collection bigint NOT NULL, person bigint NOT NULL, embedding halfvec($dimension) NOT NULL"
first=0
for shard; do
    {
        echo "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;"
        echo "CREATE SCHEMA IF NOT EXISTS \"$gallery\"; SET search_path = \"$gallery\", public; BEGIN;"
        for i in $(seq $first $((first + partitions - 1))); do
            # shellcheck disable=SC2059
            printf "CREATE TABLE ${table}_$i ($columns);\n" "PRIMARY KEY"
            echo "CREATE INDEX ON ${table}_$i (collection, person); CREATE INDEX ON ${table}_$i USING hnsw ($index);"
        done
        echo "COMMIT;"
    } | run "$shard"
    first=$((first + partitions))
done

{
    echo "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;"
    echo "CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public;"
    echo "CREATE SCHEMA IF NOT EXISTS \"$gallery\"; SET search_path = \"$gallery\", public; BEGIN;"
    echo '\set password `printf %s "${SHARD_PASSWORD:-}"`'
    # shellcheck disable=SC2059
    printf "CREATE TABLE $table ($columns) PARTITION BY HASH (template);\n" "NOT NULL"
    first=0
    for shard; do
        server=uniface_${gallery}_${table#vector_}_$((first / partitions))
        # What psql is connected to with this address is what the coordinator shall connect to. Its searches are
        # cursors, of which the first rows are read: the shard must plan for these, also where the coordinator
        # has no figures about the table yet and does not send the LIMIT along.
        echo "SELECT format('CREATE SERVER %I FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L,'
            ' dbname %L, extensions ''vector'', async_capable ''true'', batch_size ''100'', options'
            ' ''-c hnsw.ef_search=200 -c hnsw.iterative_scan=strict_order -c hnsw.max_scan_tuples=200000'
            ' -c cursor_tuple_fraction=0.000001 -c jit=off'');',
            '$server', :'HOST', :'PORT', :'DBNAME');" | run "$shard"
        echo "SELECT format('CREATE USER MAPPING FOR CURRENT_USER SERVER %I OPTIONS (user %L', '$server',
            :'USER') || ', password :''password'');';" | run "$shard"
        for i in $(seq $first $((first + partitions - 1))); do
            echo "CREATE FOREIGN TABLE ${table}_$i PARTITION OF $table FOR VALUES WITH (MODULUS $modulus,"
            echo " REMAINDER $i) SERVER $server OPTIONS (schema_name '$gallery', table_name '${table}_$i');"
        done
        first=$((first + partitions))
    done
    echo "COMMIT;"
} | run "$coordinator"
echo "$gallery: vectors of model $model in $modulus partitions on $# servers"
