#include "CRPCServices.h"
