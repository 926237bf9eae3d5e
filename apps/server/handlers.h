/* The handlers that the table of routes.c names, by file. */
#ifndef UF_SERVER_HANDLERS_H
#define UF_SERVER_HANDLERS_H

#include "server/server.h"

/* known.c: the two operations that users of UniFace's first server know */
srv_handler known_root, known_embed_face;
/* ops.c: operation */
srv_handler ops_healthz, ops_readyz, ops_metrics, ops_openapi;
/* ui.c: the page */
srv_handler ui_file;
/* v1_faces.c, v1_compare.c: what needs no gallery, and searches */
srv_handler v1_detect, v1_embed, v1_detect_batch, v1_embed_batch;
srv_handler v1_verify, v1_compare, v1_identify;
/* v1_people.c */
srv_handler v1_people_list, v1_people_create, v1_people_show, v1_people_change, v1_people_delete;
srv_handler v1_faces_list, v1_faces_add, v1_faces_delete;
srv_handler v1_collections_list, v1_collections_delete;
/* v1_admin.c: models and keys */
srv_handler v1_models_list, v1_models_load, v1_models_unload;
srv_handler v1_keys_list, v1_keys_create, v1_keys_delete;
/* compreface_faces.c, compreface_subjects.c: the API of CompreFace */
srv_handler cf_detect, cf_recognize, cf_verify, cf_faces_verify;
srv_handler cf_embeddings_recognize, cf_embeddings_faces_verify, cf_embeddings_verify;
srv_handler cf_subjects_list, cf_subjects_add, cf_subjects_rename, cf_subjects_delete;
srv_handler cf_subjects_delete_all;
srv_handler cf_faces_list, cf_faces_add, cf_faces_delete_all, cf_faces_delete, cf_faces_delete_some;
srv_handler cf_faces_image, cf_static_image;
/* kserve.c: the Open Inference Protocol */
srv_handler ks_server, ks_live, ks_ready, ks_model, ks_model_ready, ks_infer;

#endif
