/* Lists that operations have in common, and a row for each operation. server_test.py asks each
 * operation for each of its values, so that none stands here that is not read. */
#include "server/openapi_fields.h"

#include <string.h>

#define CF "/api/v1"

static const srv_described picture[] = {
    {"image", SRV_FIELD_PICTURE, "JPEG, PNG or WebP; \"file\" is the same"}, {0}};
static const srv_described pictures[] = {
    {"images", SRV_FIELD_PICTURES, "at most 64; \"image\" and \"file\" are the same"}, {0}};
static const srv_described two_pictures[] = {
    {"image1", SRV_FIELD_PICTURE, "two pictures are compared"},
    {"image2", SRV_FIELD_PICTURE, "with this one"},
    {"image", SRV_FIELD_PICTURE, "instead of two: compared with the person \"id\""},
    {"id", SRV_FIELD_TEXT, "of an enrolled person"},
    {0}};
static const srv_described collection[] = {{"collection", SRV_FIELD_TEXT, "by default \"default\""},
                                           {0}};
static const srv_described threshold[] = {
    {"threshold", SRV_FIELD_NUMBER,
     "-1 to 1; by default that of the model for a false accept rate of 1e-4"},
    {0}};
static const srv_described purpose[] = {
    {"purpose", SRV_FIELD_TEXT,
     "what it is for; people enrolled for another purpose are not found"},
    {0}};
static const srv_described all[] = {
    {"all", SRV_FIELD_SWITCH, "every face (default); false: the largest"}, {0}};
static const srv_described search[] = {
    {"top_k", SRV_FIELD_INTEGER, "most candidates for a face: 1 to 100, by default 5"},
    {"fpir", SRV_FIELD_NUMBER,
     "how often a stranger may be taken for somebody (1e-6 to 0.5, default 0.01, more wants the "
     "role scores), by which the threshold is measured"},
    {"threshold", SRV_FIELD_NUMBER, "-1 to 1, instead of the measured one"},
    {"below", SRV_FIELD_SWITCH, "candidates that do not pass too; wants the role scores"},
    {0}};
static const srv_described person[] = {
    {"name", SRV_FIELD_TEXT, "kept in the metadata"},
    {"metadata", SRV_FIELD_OBJECT, "any JSON object; in a form its text"},
    {"consent", SRV_FIELD_TEXT, "on what the enrolment rests"},
    {"purpose", SRV_FIELD_TEXT, "for which searches alone may find this person"},
    {"expires", SRV_FIELD_NUMBER, "when the person is deleted: seconds since 1970; 0: never"},
    {0}};
static const srv_described enrolment[] = {
    {"images", SRV_FIELD_PICTURES, "one face each; \"image\" and \"file\" are the same"},
    {"force", SRV_FIELD_SWITCH, "takes poor pictures, and the largest of several faces"},
    {0}};
static const srv_described new_id[] = {
    {"id", SRV_FIELD_TEXT, "1 to 256 bytes; needed. Who is there already gets more faces"}, {0}};
static const srv_described people_page[] = {
    {"limit", SRV_FIELD_INTEGER, "1 to 1000, by default 100"},
    {"after", SRV_FIELD_TEXT, "the \"next\" of the page before"},
    {0}};
static const srv_described templates[] = {
    {"a", SRV_FIELD_VECTOR, "a template"}, {"b", SRV_FIELD_VECTOR, "of as many numbers"}, {0}};
static const srv_described model_name[] = {
    {"name", SRV_FIELD_TEXT, "of a file in the server's folder of models, without a path"}, {0}};
static const srv_described key[] = {
    {"name", SRV_FIELD_TEXT, "what the key is for; needed"},
    {"roles", SRV_FIELD_TEXT, "by collection: \"*:read,identify;staff:enrol\"; needed"},
    {0}};
static const srv_described file[] = {{"file", SRV_FIELD_PICTURE, "JPEG, PNG or WebP; needed"}, {0}};
static const srv_described cf_two[] = {{"source_image", SRV_FIELD_PICTURE, "of the one face"},
                                       {"target_image", SRV_FIELD_PICTURE, "of faces"},
                                       {0}};
static const srv_described cf_options[] = {
    {"limit", SRV_FIELD_INTEGER, "most faces, the largest first; 0 (default): all"},
    {"det_prob_threshold", SRV_FIELD_NUMBER, "0 to 1: the least score of a face"},
    {"face_plugins", SRV_FIELD_TEXT, "calculator, landmarks, pose: what is added to faces"},
    {"status", SRV_FIELD_SWITCH, "adds times and versions"},
    {"detect_faces", SRV_FIELD_SWITCH, "false: the picture is a face that was cropped before"},
    {0}};
static const srv_described cf_predictions[] = {
    {"prediction_count", SRV_FIELD_INTEGER, "most subjects for a face, by default 1"}, {0}};
static const srv_described cf_subject_name[] = {{"subject", SRV_FIELD_TEXT, "the subject's name"},
                                                {0}};
static const srv_described cf_page[] = {{"page", SRV_FIELD_INTEGER, "from 0"},
                                        {"size", SRV_FIELD_INTEGER, "of a page, by default 20"},
                                        {0}};
static const srv_described cf_templates[] = {{"embeddings", SRV_FIELD_VECTORS, "templates; needed"},
                                             {0}};
static const srv_described cf_source[] = {{"source", SRV_FIELD_VECTOR, "a template"},
                                          {"targets", SRV_FIELD_VECTORS, "those to compare with"},
                                          {0}};

#define A_PERSON \
    "id, collection, name, metadata, consent, purpose, expires, created, updated, faces"
#define A_RECEIPT "id, faces, time, audit_entry, audit_digest"
#define A_SCORE "same, band, threshold; score for keys with the role scores"
#define FACES "width, height, faces: [{box: [x, y, width, height], score, landmarks, quality}]"

static const srv_operation operations[] = {
    {SRV_POST, "/embed_face/", 200, "filename, embedding", {file}},
    {SRV_POST, "/v1/detect", 200, FACES, {picture}},
    {SRV_POST, "/v1/detect/batch", 200, "results: [{width, height, faces}]", {pictures}},
    {SRV_POST, "/v1/embed", 200, FACES " with embedding; model_id", {picture, all}},
    {SRV_POST,
     "/v1/embed/batch",
     200,
     "results: [{width, height, faces, model_id}]",
     {pictures, all}},
    {SRV_POST, "/v1/verify", 200, A_SCORE, {two_pictures, threshold, collection, purpose}},
    {SRV_POST, "/v1/compare", 200, A_SCORE, {templates, threshold}},
    {SRV_POST,
     "/v1/identify",
     200,
     "faces: [{box, score, landmarks, quality, matches: [{id, name, band, passes}]}], threshold",
     {picture, search, collection, purpose}},
    {SRV_GET, "/v1/people", 200, "people: [{" A_PERSON "}], next", {people_page, collection}},
    {SRV_POST, "/v1/people", 201, A_PERSON, {new_id, enrolment, person, collection}},
    {SRV_GET, "/v1/people/{id}", 200, A_PERSON, {collection}},
    {SRV_PATCH, "/v1/people/{id}", 200, A_PERSON, {person, collection}},
    {SRV_DELETE, "/v1/people/{id}", 200, A_RECEIPT, {collection}},
    {SRV_GET,
     "/v1/people/{id}/faces",
     200,
     "faces: [{id, model_id, quality, created, crop}]",
     {collection}},
    {SRV_POST, "/v1/people/{id}/faces", 201, A_PERSON, {enrolment, person, collection}},
    {SRV_DELETE, "/v1/people/{id}/faces/{face}", 200, A_RECEIPT, {collection}},
    {SRV_GET, "/v1/collections", 200, "collections: [{name, people, faces}]", {0}},
    {SRV_DELETE, "/v1/collections/{name}", 200, "people: how many were deleted", {0}},
    {SRV_GET,
     "/v1/models",
     200,
     "models: [{task, name, model_id, dimension, parameters, licence, signature}]",
     {0}},
    {SRV_PUT, "/v1/models/{task}", 200, "the model, as in the list", {model_name}},
    {SRV_DELETE, "/v1/models/{task}", 204, "It is unloaded", {0}},
    {SRV_GET, "/v1/keys", 200, "keys: [{id, name, created, grants}]", {0}},
    {SRV_POST, "/v1/keys", 201, "id, key", {key}},
    {SRV_DELETE, "/v1/keys/{id}", 204, "It is removed", {0}},
    {SRV_POST, CF "/detection/detect", 200, "result: faces", {file, cf_options}},
    {SRV_POST,
     CF "/verification/verify",
     200,
     "result: [{source_image_face, face_matches}]",
     {cf_two, cf_options, threshold}},
    {SRV_POST,
     CF "/verification/embeddings/verify",
     200,
     "result: [{embedding, similarity}]",
     {cf_source, threshold}},
    {SRV_POST,
     CF "/recognition/recognize",
     200,
     "result: faces with subjects",
     {file, cf_options, cf_predictions, threshold}},
    {SRV_POST,
     CF "/recognition/embeddings/recognize",
     200,
     "result: [{embedding, similarities}]",
     {cf_templates, cf_predictions, threshold}},
    {SRV_POST,
     CF "/recognition/embeddings/faces/{image_id}/verify",
     200,
     "result: [{embedding, similarity}]",
     {cf_templates, threshold}},
    {SRV_GET, CF "/recognition/subjects", 200, "subjects: names", {0}},
    {SRV_POST, CF "/recognition/subjects", 201, "subject", {cf_subject_name}},
    {SRV_DELETE, CF "/recognition/subjects", 200, "deleted: how many", {0}},
    {SRV_PUT, CF "/recognition/subjects/{subject}", 200, "updated", {cf_subject_name}},
    {SRV_DELETE, CF "/recognition/subjects/{subject}", 200, "subject", {0}},
    {SRV_GET,
     CF "/recognition/faces",
     200,
     "faces: [{image_id, subject}], page_number, page_size, total_pages, total_elements",
     {cf_page, cf_subject_name}},
    {SRV_POST,
     CF "/recognition/faces",
     201,
     "image_id, subject",
     {file, cf_subject_name, cf_options}},
    {SRV_DELETE, CF "/recognition/faces", 200, "deleted: how many", {cf_subject_name}},
    {SRV_POST, CF "/recognition/faces/delete", 200, "[{image_id, subject}]", {0}},
    {SRV_DELETE, CF "/recognition/faces/{image_id}", 200, "image_id, subject", {0}},
    {SRV_POST,
     CF "/recognition/faces/{image_id}/verify",
     200,
     "result: faces with similarity",
     {file, cf_options, threshold}},
};

const srv_operation *srv_operation_of(const srv_route *r)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (operations[i].method == r->method && !strcmp(operations[i].pattern, r->pattern))
            return &operations[i];
    return NULL;
}
