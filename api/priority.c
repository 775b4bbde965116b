#include "api/priority.h"

const char *const priority_names[PRIORITIES] = {
    [PRIORITY_HIGH] = "high", [PRIORITY_NORMAL] = "normal", [PRIORITY_LOW] = "low"};
