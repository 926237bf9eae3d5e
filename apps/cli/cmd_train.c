/* uniface distill, train, finetune, retrain: tables of the commands whose work is done by
 * uniface-train. */
#include "training.h"

#define TRAIN_OPTIONS                                                                              \
    {"output", 'o', "OUT.ufm", "the new model"},                                                   \
        {"epochs", 'n', "EPOCHS", "passes over the pictures (5)"},                                 \
        {"batch", 'b', "N", "pictures a step (64)"},                                               \
        {"threads", 't', "N", "threads (0: one per core)"},                                        \
        {"precision", 0, "NAME", "fp32 (default) or bf16"},                                        \
        {"optimizer", 0, "NAME", "adamw (default) or sgd"},                                        \
        {"rate", 'r', "X", "learning rate after the warm-up (0.002; INT8: 0.0001; sgd: 0.05)"},    \
        {"final-rate", 0, "X", "and at the end, along a cosine (1 % of it)"},                      \
        {"schedule", 0, "NAME", "cosine (default), or step: the rate falls at milestones"},        \
        {"milestones", 0, "SHARE,...", "of the run, for step (0.5,0.75,0.9)"},                     \
        {"rate-factor", 0, "X", "what the rate is multiplied by there (0.1)"},                     \
        {"warmup", 0, "SHARE", "of the run (0.05)"},                                               \
        {"decay", 0, "X", "weight decay (0.05; INT8: 0; sgd: 0.0005)"},                            \
        {"average", 0, "X", "moving average of the weights (0.999)"},                              \
        {"augment", 0, "0..2", "strength of what is varied: colour, blur, JPEG, position (1)"},    \
        {"blend", 0, "SHARE", "of faces morphed into new persons (0)"},                            \
        {"occlude", 0, "SHARE", "of faces with a patch over them (0)"},                            \
        {"held-out", 0, "SHARE", "of the pictures that are measured on, not learned from (0.02)"}, \
        {"seed", 0, "N", "of everything drawn by lot (1)"},                                        \
        {"checkpoint", 0, "FILE", "go on from it when it is there, and keep it up to date"},       \
        {"checkpoint-every", 0, "SECONDS", "how often (60)"},                                      \
        {"measure-every", 0, "N", "steps between points of the curves (40 points in all)"},        \
        {"pairs", 'p', "FILE",                                                                     \
         "score candidates on a list of pairs (see evaluate), keep the best"},                     \
        {"images", 'i', "DIR", "folder that the names of --pairs are relative to"},                \
        {"aligned", 0, NULL, "pictures of --pairs are aligned crops"},                             \
        {"patience", 0, "N", "end after so many scores of --pairs without a better one"},          \
        {"detector", 'd', "MODEL", "aligns pictures that come without landmarks, and --pairs"},    \
        {"sign-key", 0, "FILE", "sign what is written by this key (`uniface sign keygen`)"},       \
    {                                                                                              \
        "report", 0, "DIR", "write report.html, curves as SVG, and report.json"                    \
    }

#define LOSS_OPTIONS                                                                   \
    {"angular", 0, "X", "weight of the angle to the teacher's vectors (1)"},           \
        {"relational", 0, "X", "of how vectors lie to each other (0)"},                \
        {"feature", 0, "X", "of the plain distance (0)"},                              \
        {"clean-teacher", 0, NULL, "teachers see pictures before they are degraded"},  \
        {"teacher-cache", 0, "FILE",                                                   \
         "keep what they say there: each picture is asked about once"},                \
    {                                                                                  \
        "teacher", 'T', "MODEL,...", "models to learn from (embedders, or a detector)" \
    }

#define PERSON_OPTIONS                                                                         \
    {"loss", 'l', "NAME", "arcface, cosface, unified-ce, triplet: pictures of known persons"}, \
        {"per-person", 0, "N",                                                                 \
         "pictures of each person in a batch (triplet: 4; else 1, whoever comes)"},            \
        {"margin", 0, "X", "of that loss (0.5, 0.35, 0.4, 0.3)"},                              \
        {"scale", 0, "X", "that cosines are multiplied by (30)"},                              \
    {                                                                                          \
        "smoothing", 0, "X", "of labels (0)"                                                   \
    }

#define STUDENT_OPTION                                                                     \
    {                                                                                      \
        "student", 's', "NAME", "what learns: a described network, with a width if wanted" \
    }

#define ABOUT_PICTURES                                                                           \
    "Pictures are folders (a folder in it is a person), tar archives, lists; docs/training.md\n" \
    "says how. Those that come with landmarks are aligned by them, others by --detector.\n"

#define ABOUT_STUDENTS                                                       \
    "\nStudents: mobilefacenet, ghostfacenet, iresnet18, yunet, attribute; " \
    "\"mobilefacenet-0.5x\"\n"                                               \
    "has half the channels; a path names a description of your own."

const cli_command cli_distill = {
    .name = "distill",
    .summary = "Train a small network to answer as a large one does",
    .operands = "PICTURES...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {STUDENT_OPTION, LOSS_OPTIONS, TRAIN_OPTIONS},
    .details = ABOUT_PICTURES
    "No names of persons are needed: the teachers say who looks like whom." ABOUT_STUDENTS,
    .examples =
        "  uniface distill -T big.ufm -s mobilefacenet-0.5x faces/ -o small.ufm\n"
        "  uniface distill -T a.ufm,b.ufm -s mobilefacenet faces.tar -n 20 --checkpoint run.ckpt "
        "-o face.ufm\n"
        "  uniface distill -T yunet.ufm -s yunet-0.5x scenes/ -o detector.ufm\n",
    .run = cli_run_training,
};

const cli_command cli_train = {
    .name = "train",
    .summary = "Train a network on pictures of known persons",
    .operands = "PICTURES...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {STUDENT_OPTION, PERSON_OPTIONS, LOSS_OPTIONS, TRAIN_OPTIONS},
    .details = ABOUT_PICTURES "A teacher may help." ABOUT_STUDENTS,
    .examples = "  uniface train people/ -s mobilefacenet -l arcface -o face.ufm\n"
                "  uniface train people/ -s ghostfacenet -l unified-ce -T big.ufm -p pairs.txt -d "
                "yunet.ufm -o face.ufm --report report/\n",
    .run = cli_run_training,
};

const cli_command cli_finetune = {
    .name = "finetune",
    .summary = "Train a model further: after pruning, or on pictures of its site",
    .operands = "MODEL.ufm PICTURES...",
    .min_operands = 2,
    .max_operands = -1,
    .options = {PERSON_OPTIONS, LOSS_OPTIONS, TRAIN_OPTIONS},
    .details = ABOUT_PICTURES
    "After `prune` the model it was made from is the teacher that brings back what was lost.",
    .examples = "  uniface finetune pruned.ufm faces/ -T face.ufm -r 0.0005 -o slim.ufm\n"
                "  uniface finetune face.ufm site/ -l cosface -T face.ufm -n 2 -o site.ufm\n",
    .run = cli_run_training,
};

const cli_command cli_retrain = {
    .name = "retrain",
    .summary = "Adapt a deployed model to new pictures, and keep the result only if it is no worse",
    .operands = "PICTURES...",
    .min_operands = 1,
    .max_operands = -1,
    .options =
        {{"deployed", 'm', "MODEL.ufm", "the model in use; it is the teacher too"},
         {"promote", 0, NULL,
          "put the candidate in the deployed model's place (that stays as MODEL.ufm.previous)"},
         PERSON_OPTIONS,
         LOSS_OPTIONS,
         TRAIN_OPTIONS},
    .details =
        "The deployed model is trained further on the pictures, then both judge the pairs of\n"
        "--pairs, which must not be among the pictures. The candidate is written only when it\n"
        "judges no fewer of them rightly (McNemar's test is told); else the exit status is 1.\n"
        "Interrupted at any point, the deployed model stays as it is. --sign-key signs the\n"
        "candidate as the release after the deployed model's.",
    .examples = "  uniface retrain -m face.ufm site/ -p held-out.txt -i photos/ -d yunet.ufm -o "
                "candidate.ufm\n"
                "  uniface retrain -m face.ufm site/ -l arcface -p pairs.txt -d yunet.ufm -o "
                "new.ufm --promote --report out/\n",
    .run = cli_run_training,
};
