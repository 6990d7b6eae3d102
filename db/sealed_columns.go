package db

// sealedColumn is a column of which every value is sealed (seal.go). Its table has the column id.
type sealedColumn struct {
	table, column string
	place         func(id string) string // for which a row's value is sealed
}

// sealedColumns lists them all, so that a rotation leaves none out. A test compares it with what the migrations say.
var sealedColumns = []sealedColumn{
	{"credentials", "secret_key", sealedAt},
	{"compute_envs", "access_token", accessTokenAt},
	{"second_factors", "secret", secondFactorAt},
	{"pipeline_secrets", "value", pipelineSecretAt},
}

func secondFactorAt(userID string) string { return "second_factors/" + userID + "/secret" }
func pipelineSecretAt(id string) string   { return "pipeline_secrets/" + id + "/value" }
