/* uniface/uniface.h - all of UniFace. */
#ifndef UNIFACE_UNIFACE_H
#define UNIFACE_UNIFACE_H

#include "uniface/base.h"
#include "uniface/evaluate.h"
#include "uniface/face.h"
#include "uniface/gallery.h"
#include "uniface/image.h"
#include "uniface/index.h"
#include "uniface/model.h"
#include "uniface/optimize.h"
#include "uniface/pipeline.h"
#include "uniface/sign.h"
#include "uniface/store.h"

#endif
